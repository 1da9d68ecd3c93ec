-- Battles and votes are evidence: they are added, and never changed or taken away.
CREATE TRIGGER "battles_no_update" BEFORE UPDATE ON "battles" BEGIN SELECT RAISE(ABORT, 'battles is append-only'); END;
--> statement-breakpoint
CREATE TRIGGER "battles_no_delete" BEFORE DELETE ON "battles" BEGIN SELECT RAISE(ABORT, 'battles is append-only'); END;
--> statement-breakpoint
CREATE TRIGGER "votes_no_update" BEFORE UPDATE ON "votes" BEGIN SELECT RAISE(ABORT, 'votes is append-only'); END;
--> statement-breakpoint
CREATE TRIGGER "votes_no_delete" BEFORE DELETE ON "votes" BEGIN SELECT RAISE(ABORT, 'votes is append-only'); END;
