-- sent: – (nothing moves)
-- Forgets what other queues were told. The ends that were handed over are remembered for a minute, so that a child that
-- is stored late a second time does not run again.
--
-- KEYS  1 root
-- ARGV  1 time  2 planned | handover | felled, then two for each (a few hundred at most): its name, and for planned the
--       id of the job that the child is or has joined, for the others ''
-- Returns how many were forgotten.
-- include: root
local what, forgotten = ARGV[2], 0
redis.call('HLEN', root .. what)
redis.call('ZCARD', root .. 'handed')
for i = 3, #ARGV, 2 do
  local name = ARGV[i]
  forgotten = forgotten + redis.call('HDEL', root .. what, name)
  if what == 'planned' then
    local id, key = string.match(name, '^(%S+) (%S+)$')
    local about = id and redis.call('HGET', root .. 'children:' .. id, key)
    if about then
      redis.call('HSET', root .. 'children:' .. id, key, string.match(about, '^%d+ %a+ %S+ ') .. ARGV[i + 1])
    end
  elseif what == 'handover' then
    redis.call('ZADD', root .. 'handed', now, name)
  end
end
if what == 'handover' then
  redis.call('ZREMRANGEBYSCORE', root .. 'handed', '-inf', now - 60000)
  redis.call('PEXPIRE', root .. 'handed', 60000)
end
return forgotten
