-- schedule_list: – (reads only)
-- Schedules with everything that is known of them: a page of all, or those named.
--
-- KEYS  1 root
-- ARGV  1 time  2 cursor ('0' at first)  3 page size, about  4… names (then the cursor means nothing)
-- Returns {now, next cursor ('0' at the end), name, fields, state, name, fields, state, …}: fields is flat, as in the
-- hash, empty where there is no such schedule; state is that of the job that was started last, '' where it is gone. A
-- page may repeat a schedule of an earlier one.
-- include: root places events limits moves finding
local names, cursor = {}, '0'
for i = 4, #ARGV do names[#names + 1] = ARGV[i] end
if #ARGV < 4 then
  local step = redis.call('ZSCAN', root .. 'schedules', ARGV[2], 'COUNT', ARGV[3])
  cursor = step[1]
  for i = 1, #step[2], 2 do names[#names + 1] = step[2][i] end
end
local reply = {now, cursor}
for _, name in ipairs(names) do
  local fields = redis.call('HGETALL', root .. 'schedule:' .. name)
  local state = ''
  for i = 1, #fields, 2 do
    if fields[i] == 'last_id' then
      local found, record = find(fields[i + 1])
      state = found or ''
      if found == 'ended' then state = string.match(record, '"state":"(%a+)"') or '' end
    end
  end
  reply[#reply + 1] = name
  reply[#reply + 1] = fields
  reply[#reply + 1] = state
end
return reply
