-- accept: blocked → waiting (front) | failed, for parents whose children have ended
-- Notes how children ended. Their parents run again once all have ended, or one has whose failure lets them go on; the
-- failure of one that its parent can't do without ends it. May be repeated: the first end of a child counts.
--
-- KEYS  1 root
-- ARGV  1 time  2 failed records to keep ('' all), then five for each end (a few hundred at most):
--         parent     its id
--         key        of the child
--         state      completed | failed | cancelled | removed
--         reason     why it did not complete, or ''
--         body       how it ended, JSON text
-- Returns {noted, gone, outgoing}: ends that were new, and that had no parent any more; outgoing is 1 where a parent that
-- ended here has parents itself.
-- include: root places events limits moves families endings records hooks
local places = redis.call('HGET', root .. 'meta', 'places') or ''
check_places(places, true)
redis.call('XLEN', root .. 'events')
for _, name in ipairs({'bell', 'blocked', 'failed', 'waited'}) do redis.call('ZCARD', root .. name) end
for _, name in ipairs({'index', 'ended', 'unique', 'joined', 'runs', 'notes'}) do redis.call('HLEN', root .. name) end
for i = 3, #ARGV, 5 do
  redis.call('HLEN', root .. 'children:' .. ARGV[i])
  redis.call('HLEN', root .. 'child_ends:' .. ARGV[i])
end
redis.call('HINCRBY', root .. 'meta', 'added', 0) -- a write that a full Redis refuses, with nothing changed
local noted, gone = 0, 0
local touched, order = {}, {}
for i = 3, #ARGV, 5 do
  local id, key, state, reason = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local mark = redis.call('HGET', root .. 'families', id)
  local about = mark and redis.call('HGET', root .. 'children:' .. id, key)
  if not about then
    gone = gone + 1
  elseif redis.call('HSETNX', root .. 'child_ends:' .. id, key, ARGV[i + 4]) == 1 then
    noted = noted + 1
    redis.call('HDEL', root .. 'planned', id .. ' ' .. key)
    local policy = string.match(about, '^%d+ (%a+)')
    local word, count = string.match(mark, '^(%a+) (.*)$')
    if state ~= 'completed' and word ~= 'fail' then
      if policy == 'fail' then
        redis.call('HSET', root .. 'families', id, 'fail child ' .. key .. ' ' .. state .. ': ' .. reason)
      elseif policy == 'continue' then
        redis.call('HSET', root .. 'families', id, 'go ' .. (tonumber(count or 0) + 1))
        touched[id] = 'go'
      end
    end
    if not touched[id] then
      touched[id] = 'look'
    end
    order[#order + 1] = id
  end
end
local waiting, failed, records, freed = {}, {}, {}, {}
for _, id in ipairs(order) do
  local what = touched[id]
  touched[id] = nil
  if what and redis.call('HGET', root .. 'index', id) == 'blocked for children' then
    local next_state, reason = outlook(id, 1e15)
    if what == 'go' and next_state == 'blocked' then next_state = 'ready' end
    local fields, level = kept_fields(id)
    if fields and next_state ~= 'blocked' then
      redis.call('ZREM', root .. 'blocked', id)
      redis.call('DEL', root .. 'job:' .. id)
      if next_state == 'ready' then
        places = put_waiting('front:' .. level, id, fields, places)
        waiting[#waiting + 1] = id
      else
        local map = {}
        for i = 1, #fields, 2 do map[fields[i]] = fields[i + 1] end
        failed[#failed + 1] = id
        records[#records + 1] = record_of(id, level, map, 'failed', tonumber(map.attempt) or 0, 'ChildFailed', reason)
        if map.unique then freed[#freed + 1] = {map.unique, id} end
      end
    end
  end
end
finish('failed', failed, records, ARGV[2])
keep_untold(failed, records, 0)
if #waiting > 0 then
  tell(#waiting, 'waiting', table.concat(waiting, ' '))
  ring()
end
if #failed > 0 then tell(#failed, 'failed', table.concat(failed, ' ')) end
for _, pair in ipairs(freed) do places = free_unique(pair[1], pair[2], places) end
return {noted, gone, any_outgoing() and 1 or 0}
