-- limit_length: – (a setting)
-- Limits how many jobs a queue holds that have not started, or ends the limit. Jobs that it holds already stay.
--
-- KEYS  1 root
-- ARGV  1 time  2 jobs at most, or '' for no limit
-- Returns the limit before, or ''.
-- include: root
local before = redis.call('HGET', root .. 'meta', 'max_length') or ''
if ARGV[2] == '' then
  redis.call('HDEL', root .. 'meta', 'max_length')
else
  redis.call('HSET', root .. 'meta', 'max_length', ARGV[2])
end
return before
