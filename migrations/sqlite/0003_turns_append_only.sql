-- Turns are evidence as their battles are: they are added, and never changed or taken away.
CREATE TRIGGER "turns_no_update" BEFORE UPDATE ON "turns" BEGIN SELECT RAISE(ABORT, 'turns is append-only'); END;
--> statement-breakpoint
CREATE TRIGGER "turns_no_delete" BEFORE DELETE ON "turns" BEGIN SELECT RAISE(ABORT, 'turns is append-only'); END;
