-- limits: – (reads only)
-- What limits a queue or one key, and when it may start a job again.
--
-- KEYS  1 root
-- ARGV  1 time  2 '' for the queue, else a key
-- Returns {now, limit as '<concurrency> <starts> <period ms>' or '', jobs that run, jobs that wait, when the next may start
-- (ms; 0: now, -1: when one that runs has ended), 1 where the limit is the key's own}. A queue's waiting jobs are those
-- that are in no line of a key, and those that are.
-- include: root places events limits
local key = ARGV[2]
if key == '' then
  local meta = redis.call('HMGET', root .. 'meta', 'places', 'limit', 'limited_until')
  local active, total = 0, 0
  for place in string.gmatch(meta[1] or '', '%S+') do
    local pending = redis.pcall('XPENDING', root .. place, 'workers')
    active = active + (not pending.err and pending[1] or 0)
    total = total + redis.call('XLEN', root .. place)
  end
  local concurrency = parse_limit(meta[2])
  local room, opens = queue_room(meta[2], meta[3], 1, meta[1] or '')
  if concurrency > 0 and active >= concurrency then
    room = 0
    opens = opens or -1
  end
  if room > 0 then opens = 0 end
  return {now, meta[2] or '', active, total - active + redis.call('ZCARD', root .. 'keyed'), opens or -1, 1}
end
local own = redis.call('HMGET', root .. 'limits', 'key:' .. key, 'keys')
local ready, opens = may_start(key)
return {now, own[1] or own[2] or '', tonumber(redis.call('HGET', root .. 'running', key) or 0),
  redis.call('ZCARD', root .. 'keyed:' .. key), ready and 0 or opens or -1, own[1] and 1 or 0}
