-- Ending what had to be started by a moment that has passed. Needs root, places, events, limits, moves, endings, records,
-- hooks.

-- `late` as claiming notes it; `keep` failed records are kept. Their parents are told by way of the worker's inbox. Adds
-- 'late' and a flat list of ids and names to what was claimed, for who counts them.
local function fail_expired(late, worker, places, keep, taken)
  local ids, records, freed, gone = {}, {}, {}, {}
  for i, job in ipairs(late) do
    if job.entry then
      redis.call('XACK', root .. job.place, 'workers', job.entry)
      redis.call('XDEL', root .. job.place, job.entry)
    end
    local level = string.sub(job.place, -1)
    local map = {}
    for j = 1, #job.fields, 2 do map[job.fields[j]] = job.fields[j + 1] end
    if not map.created then map.created = string.match(job.entry, '^%d+') end
    local id = map.id or level .. '-' .. job.entry
    ids[i] = id
    gone[#gone + 1], gone[#gone + 2] = id, map.name or '?'
    records[i] = record_of(id, level, map, 'failed', 0, 'Expired',
      string.format('it had to be started %.3f s earlier', (now - map.expires) / 1000))
    if map.unique then freed[#freed + 1] = {map.unique, id} end
  end
  redis.call('HDEL', root .. 'cancelling', unpack(ids))
  finish('failed', ids, records, keep)
  keep_untold(ids, records, 0)
  tell(#ids, 'failed', table.concat(ids, ' '))
  for _, pair in ipairs(freed) do places = free_unique(pair[1], pair[2], places) end
  if any_outgoing() then
    redis.pcall('RPUSH', root .. 'inbox:' .. worker, '{"deliver":true}')
    redis.pcall('LTRIM', root .. 'inbox:' .. worker, -1000, -1)
  end
  taken[#taken + 1] = 'late'
  taken[#taken + 1] = gone
end
