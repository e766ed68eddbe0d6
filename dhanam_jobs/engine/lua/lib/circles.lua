-- Finding out whether jobs would wait for each other. Needs root.

-- Who waits for a job, and for those in turn, as far as this queue can see (its own jobs at any remove, others at one), at
-- most 1,000: a table of '<queue> <id>' to the one that it waits for. Needs a read of `parents` only.
local function waiters_of(own, id)
  local found, list, from = {}, {own .. ' ' .. id}, 1
  while list[from] and #list < 1000 do
    local queue, job = string.match(list[from], '^(%S+) (%S+)$')
    local links = queue == own and redis.call('HGET', root .. 'parents', job) or ''
    for waiter in string.gmatch(links, '([^%s]+ [^%s]+) [^\n]+') do
      if not found[waiter] then
        found[waiter] = list[from]
        list[#list + 1] = waiter
      end
    end
    from = from + 1
  end
  return found
end

-- The circle that begins and ends with `place`, by what waiters_of has found: a line for each job.
local function circle_of(found, place)
  local line, at = {place}, found[place]
  while at and at ~= place and #line < 1000 do
    line[#line + 1] = at
    at = found[at]
  end
  line[#line + 1] = place
  return table.concat(line, '\n')
end
