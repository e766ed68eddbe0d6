-- prune: dead letter → –
-- Deletes dead letters by id.
--
-- KEYS  1 root
-- ARGV  1 time  2… ids (a few hundred at most)
-- Returns how many there were.
-- include: root
redis.call('HLEN', root .. 'buried')
local pruned = 0
for i = 2, #ARGV do
  if redis.call('ZREM', root .. 'dead', ARGV[i]) == 1 then
    redis.call('HDEL', root .. 'buried', ARGV[i])
    pruned = pruned + 1
  end
end
return pruned
