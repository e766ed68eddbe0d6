-- untold: – (nothing moves)
-- Lends final failures, oldest first, to a worker that tells their hooks. `told` strikes them out; one that was not struck
-- out in time is lent again.
--
-- KEYS  1 root
-- ARGV  1 time  2 ms that they are lent for  3 failures to lend at most  4… names of jobs
-- Returns a flat list of name, member and record (JSON), of about 4 MB together.
-- include: root
local lent, left, size = {}, tonumber(ARGV[3]), 0
redis.call('HLEN', root .. 'untold')
for i = 4, #ARGV do redis.call('ZCARD', root .. 'untold:' .. ARGV[i]) end
for i = 4, #ARGV do
  local line = root .. 'untold:' .. ARGV[i]
  local due = left > 0 and redis.call('ZRANGEBYSCORE', line, '-inf', now, 'LIMIT', 0, left) or {}
  for _, member in ipairs(due) do
    local record = redis.call('HGET', root .. 'untold', member)
    if not record then
      redis.call('ZREM', line, member)
    elseif size < 4000000 then
      redis.call('ZADD', line, now + ARGV[2], member)
      size = size + #record
      left = left - 1
      lent[#lent + 1] = ARGV[i]
      lent[#lent + 1] = member
      lent[#lent + 1] = record
    end
  end
end
return lent
