CREATE TABLE `battles` (
	`id` text PRIMARY KEY NOT NULL,
	`source` text NOT NULL,
	`created_at` integer NOT NULL,
	`category` text,
	`messages` text NOT NULL,
	`parameters` text NOT NULL,
	`seed` integer,
	`left_contestant` text NOT NULL,
	`right_contestant` text NOT NULL,
	`left_characters` integer,
	`right_characters` integer,
	`left` text NOT NULL,
	`right` text NOT NULL,
	`ballot_hash` text,
	CONSTRAINT "battles_source" CHECK("battles"."source" in ('arena', 'batch', 'import'))
);
--> statement-breakpoint
CREATE INDEX `battles_created_at` ON `battles` (`created_at`,`id`);--> statement-breakpoint
CREATE INDEX `battles_category` ON `battles` (`category`);--> statement-breakpoint
CREATE TABLE `votes` (
	`battle_id` text PRIMARY KEY NOT NULL,
	`winner` text NOT NULL,
	`judge` text NOT NULL,
	`voted_at` integer NOT NULL,
	`details` text,
	FOREIGN KEY (`battle_id`) REFERENCES `battles`(`id`) ON UPDATE no action ON DELETE no action,
	CONSTRAINT "votes_winner" CHECK("votes"."winner" in ('left', 'right', 'tie', 'bothBad'))
);
