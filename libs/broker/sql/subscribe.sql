-- Member $1 takes part in group $2 for topic $3; $4: one member is to own all of its partitions.
-- Locks: none.
insert into sluice.subscription (member, "group", topic, single_active) values ($1, $2, $3, $4) on conflict do nothing
