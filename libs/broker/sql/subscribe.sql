-- Member $1 takes part in group $2 for topic $3.
-- Locks: none.
insert into sluice.subscription (member, "group", topic) values ($1, $2, $3) on conflict do nothing
