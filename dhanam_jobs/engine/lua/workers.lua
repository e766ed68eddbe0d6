-- workers: – (reads only)
-- The living workers of a queue, what each says of itself, and what it holds.
--
-- KEYS  1 root
-- ARGV  1 time  2 rank to begin at  3 workers at most  4 claims of each at most
-- Returns {now, number of workers, then for each: name, last beat ms, its row (flat: started_ms, about, doing, …), claims
-- (flat: job id, job name, ms since it was claimed, …)}.
-- include: root places
local first = tonumber(ARGV[2])
local places = redis.call('HGET', root .. 'meta', 'places') or ''
local reply = {now, redis.call('ZCARD', root .. 'workers')}
local names = redis.call('ZRANGE', root .. 'workers', first, first + tonumber(ARGV[3]) - 1, 'WITHSCORES')
for i = 1, #names, 2 do
  local worker, claims = names[i], {}
  for place in string.gmatch(places, '%S+') do
    local left = tonumber(ARGV[4]) - #claims / 3
    local pending = {}
    if left > 0 then pending = redis.pcall('XPENDING', root .. place, 'workers', '-', '+', left, worker) end
    for _, held in ipairs(pending) do
      local entry = redis.call('XRANGE', root .. place, held[1], held[1])[1]
      local id, name = string.sub(place, -1) .. '-' .. held[1], '?'
      for j = 1, entry and #entry[2] or 0, 2 do
        if entry[2][j] == 'id' then id = entry[2][j + 1] end
        if entry[2][j] == 'name' then name = entry[2][j + 1] end
      end
      claims[#claims + 1] = id
      claims[#claims + 1] = name
      claims[#claims + 1] = held[3]
    end
  end
  reply[#reply + 1] = worker
  reply[#reply + 1] = names[i + 1]
  reply[#reply + 1] = redis.call('HGETALL', root .. 'worker:' .. worker)
  reply[#reply + 1] = claims
end
return reply
