-- take_along: – (nothing moves)
-- Notes that the end of a parent, however it comes, takes those of its children along that have not ended.
--
-- KEYS  1 root
-- ARGV  1 time  2 parent id  3 cancel | remove
-- Returns 1, or 0 where no such job has children.
-- include: root
redis.call('HLEN', root .. 'families')
if redis.call('HEXISTS', root .. 'families', ARGV[2]) == 0 then return 0 end
redis.call('HSET', root .. 'families', ARGV[2] .. ' tree', ARGV[3])
return 1
