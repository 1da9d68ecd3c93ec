-- Turns are evidence as their battles are: they are added, and never changed or taken away.
CREATE TRIGGER "turns_append_only" BEFORE UPDATE OR DELETE OR TRUNCATE ON "turns" FOR EACH STATEMENT EXECUTE FUNCTION "refuse_change"();
