-- hooks: – (nothing moves)
-- Notes which jobs have hooks on their failure, so that failures of these are kept until a hook was told. A name that no
-- worker has noted for the time given is forgotten, with what was kept for it, in bounded steps.
--
-- KEYS  1 root
-- ARGV  1 time  2 ms after which a name is forgotten  3… names
-- Returns how many failures were forgotten.
-- include: root
redis.call('ZCARD', root .. 'hooks')
redis.call('HLEN', root .. 'untold')
for i = 3, #ARGV do redis.call('ZADD', root .. 'hooks', now, ARGV[i]) end
local forgotten = 0
for _, name in ipairs(redis.call('ZRANGEBYSCORE', root .. 'hooks', '-inf', now - ARGV[2], 'LIMIT', 0, 10)) do
  local line = root .. 'untold:' .. name
  local members = redis.pcall('ZRANGE', line, 0, 999)
  if members.err then
    redis.call('DEL', line)
  elseif #members > 0 then
    redis.call('ZREM', line, unpack(members))
    forgotten = forgotten + redis.call('HDEL', root .. 'untold', unpack(members))
  end
  if redis.call('EXISTS', line) == 0 then redis.call('ZREM', root .. 'hooks', name) end
end
return forgotten
