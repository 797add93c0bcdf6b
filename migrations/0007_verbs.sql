-- breaking: no
-- What a handler can say about its message: a dead letter may have been rejected.

-- Locks: the table of dead letters, for a moment; checking the letters that are there holds up nobody.
alter table sluice.dead_letter drop constraint dead_letter_reason_known;
alter table sluice.dead_letter add constraint dead_letter_reason_known
  check (reason in ('exhausted', 'rejected', 'schema')) not valid;
alter table sluice.dead_letter validate constraint dead_letter_reason_known;

comment on column sluice.dead_letters.reason is
  'exhausted: its last attempt failed. rejected: its handler gave it up, and error says why. schema: it does not fit the topic''s schema.';
