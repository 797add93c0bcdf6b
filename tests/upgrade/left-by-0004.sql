-- What an app leaves behind on the schema of 0004: messages in two segments of a log, a group in the middle of it, some above its
-- position done already, one dead, and some still in the outbox. Written with the functions that there were.

select sluice.create_topic('orders', 2);
select sluice.send('orders', json_build_object('number', n), key => 'customer-' || n % 3, partition => n % 2) from generate_series(0, 19) as n;
commit;
select sluice.relay(sluice.take_duty(1, 'of then'), null, 1000);
commit;
select sluice.roll_segment(1);
commit;
select sluice.send('orders', json_build_object('number', n), key => 'customer-' || n % 3, partition => n % 2) from generate_series(20, 29) as n;
commit;
select sluice.relay(sluice.take_duty(1, 'of then'), null, 1000);
commit;

-- The group has done 0 to 3 of partition 0, and 5 in a transaction of its own, and 6 and 7; 2 it gave up. Of partition 1 it has done nothing.
insert into sluice.consumer_group (name) values ('shipping');
select sluice.ensure_positions(1, 1, 'earliest');
select sluice.take_position(1, null);
select sluice.commit_positions('{1}', '{1}', '{4}', array['{[6,8)}']);
select sluice.mark_done(1, 1, 5);
insert into sluice.dead_letter ("group", topic, partition, "offset", id, key, value, headers, "timestamp", reason, error, attempts)
select 1, 1, partition, "offset", id, key, value::text, headers, "timestamp", 'exhausted', 'Error: no stock', 5
from topics.orders where partition = 0 and "offset" = 2;
select sluice.release_position(1, 1);

-- Sent, and not moved into the log yet.
select sluice.send('orders', json_build_object('number', n), key => 'customer-' || n % 3, partition => n % 2) from generate_series(30, 33) as n;
