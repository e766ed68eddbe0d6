-- told: – (nothing moves)
-- Strikes out final failures whose hooks were told.
--
-- KEYS  1 root
-- ARGV  1 time, then two for each: name of the job, '<finished ms> <id>'
-- Returns how many there were.
-- include: root
redis.call('HLEN', root .. 'untold')
for i = 2, #ARGV, 2 do redis.call('ZCARD', root .. 'untold:' .. ARGV[i]) end
local told = 0
for i = 2, #ARGV, 2 do
  redis.call('ZREM', root .. 'untold:' .. ARGV[i], ARGV[i + 1])
  told = told + redis.call('HDEL', root .. 'untold', ARGV[i + 1])
end
return told
