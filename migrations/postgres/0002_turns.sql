CREATE TABLE "turns" (
	"battle_id" text NOT NULL,
	"number" integer NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"prompt" text NOT NULL,
	"left_characters" integer,
	"right_characters" integer,
	"left" jsonb NOT NULL,
	"right" jsonb NOT NULL,
	CONSTRAINT "turns_battle_id_number_pk" PRIMARY KEY("battle_id","number")
);
--> statement-breakpoint
ALTER TABLE "turns" ADD CONSTRAINT "turns_battle_id_battles_id_fk" FOREIGN KEY ("battle_id") REFERENCES "public"."battles"("id") ON DELETE no action ON UPDATE no action;