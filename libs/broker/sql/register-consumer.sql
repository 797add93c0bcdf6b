-- Notes that group $1 works on topic $2 in mode $3, protected from retention or not ($4); gives the mode in which it does.
-- Locks: see sluice.register_consumer.
select sluice.register_consumer($1, $2, $3, $4) as mode
