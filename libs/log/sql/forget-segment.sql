-- Takes segment $2 of topic $1 off the list, so that no reader looks for it any more.
-- Locks: the row.
delete from sluice.segment where topic = $1 and segment = $2
