-- backlog: – (reads only)
-- Since when the oldest waiting job could run, and how many claims lost their worker so far.
--
-- KEYS  1 root
-- ARGV  1 time
-- Returns {now, since (ms; 0 where nothing waits), claims that lost their worker (lifetime)}. A job with a limit key counts
-- from its creation, once its key may start one.
-- include: root places events limits moves claiming
local meta = redis.call('HMGET', root .. 'meta', 'places', 'stalled', 'keyed')
local _, since = oldest_place(meta[1] or '')
if meta[3] then
  local _, created = oldest_turn()
  if created and (not since or created < since) then since = created end
end
return {now, since or 0, tonumber(meta[2] or 0)}
