-- metrics: – (reads only)
-- The metrics of one job name, or the names that there are metrics of.
--
-- KEYS  1 root
-- ARGV  1 time  2 'minute' or 'hour'  3 how many spans, this one included, to go back  4 job name, or '' for the names
-- Returns the names; or a flat list of a span's start (ms) and its counts (JSON), oldest first, of spans in which
-- anything was counted.
-- include: root
if ARGV[4] == '' then return redis.call('ZRANGE', root .. 'metrics', 0, -1) end
local ms = ARGV[2] == 'hour' and 3600000 or 60000
local last, reply = now - now % ms, {}
local first = last - (tonumber(ARGV[3]) - 1) * ms
for from = first, last, 500 * ms do
  local starts = {}
  for start = from, math.min(last, from + 499 * ms), ms do starts[#starts + 1] = string.format('%d', start) end
  for i, counts in ipairs(redis.call('HMGET', root .. 'metrics:' .. ARGV[2] .. ':' .. ARGV[4], unpack(starts))) do
    if counts then
      reply[#reply + 1] = starts[i]
      reply[#reply + 1] = counts
    end
  end
end
return reply
