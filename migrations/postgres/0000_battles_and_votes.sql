CREATE TABLE "battles" (
	"id" text PRIMARY KEY NOT NULL,
	"source" text NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"category" text,
	"messages" jsonb NOT NULL,
	"parameters" jsonb NOT NULL,
	"seed" bigint,
	"left_contestant" text NOT NULL,
	"right_contestant" text NOT NULL,
	"left_characters" integer,
	"right_characters" integer,
	"left" jsonb NOT NULL,
	"right" jsonb NOT NULL,
	"ballot_hash" text,
	CONSTRAINT "battles_source" CHECK ("battles"."source" in ('arena', 'batch', 'import'))
);
--> statement-breakpoint
CREATE TABLE "votes" (
	"battle_id" text PRIMARY KEY NOT NULL,
	"winner" text NOT NULL,
	"judge" text NOT NULL,
	"voted_at" timestamp with time zone NOT NULL,
	"details" jsonb,
	CONSTRAINT "votes_winner" CHECK ("votes"."winner" in ('left', 'right', 'tie', 'bothBad'))
);
--> statement-breakpoint
ALTER TABLE "votes" ADD CONSTRAINT "votes_battle_id_battles_id_fk" FOREIGN KEY ("battle_id") REFERENCES "public"."battles"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "battles_created_at" ON "battles" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "battles_category" ON "battles" USING btree ("category");