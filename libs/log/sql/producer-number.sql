-- A number that no other producer of this database has or will have.
-- Locks: none.
select nextval('sluice.producer_number') as producer
