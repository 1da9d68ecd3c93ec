CREATE TABLE `turns` (
	`battle_id` text NOT NULL,
	`number` integer NOT NULL,
	`created_at` integer NOT NULL,
	`prompt` text NOT NULL,
	`left_characters` integer,
	`right_characters` integer,
	`left` text NOT NULL,
	`right` text NOT NULL,
	PRIMARY KEY(`battle_id`, `number`),
	FOREIGN KEY (`battle_id`) REFERENCES `battles`(`id`) ON UPDATE no action ON DELETE no action
);
