-- unpark: parked → waiting
-- Jobs whose name somebody knows now go back to the end of their level, in the order in which they were parked.
--
-- KEYS  1 root
-- ARGV  1 time  2 jobs to move at most  3… names
-- Returns the number of jobs moved.
-- include: root places events limits moves
local limit = tonumber(ARGV[2])
local places = redis.call('HGET', root .. 'meta', 'places') or ''
redis.call('XLEN', root .. 'events')
redis.call('HLEN', root .. 'index')
redis.call('ZCARD', root .. 'bell')
check_places(places, true)
local moved = {}
for i = 3, #ARGV do
  if limit > #moved then
    local members = redis.call('ZRANGEBYLEX', root .. 'parked', '[' .. ARGV[i] .. ' ', '[' .. ARGV[i] .. '!',
      'LIMIT', 0, limit - #moved)
    for _, member in ipairs(members) do
      local id = string.match(member, '^%S+ %d+ (.*)$')
      redis.call('ZREM', root .. 'parked', member)
      local fields, level = kept_fields(id)
      if fields then
        redis.call('DEL', root .. 'job:' .. id)
        places = put_waiting('waiting:' .. level, id, fields, places)
        moved[#moved + 1] = id
      end
    end
  end
end
if #moved > 0 then
  tell(#moved, 'waiting', table.concat(moved, ' '))
  ring()
end
return #moved
