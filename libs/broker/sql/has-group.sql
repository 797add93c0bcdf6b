-- Whether any group has positions in topic $1. (By groups, because positions are indexed by them first.)
-- Locks: none.
select exists (
  select from sluice.consumer_group g
  where exists (select from sluice.position p where p."group" = g."group" and p.topic = $1 and p.partition = 0)) as found
