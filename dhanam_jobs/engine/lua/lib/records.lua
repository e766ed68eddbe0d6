-- The record of a job that a script ends, as the executor would write it. Needs root.

-- A JSON text as it is; anything else (an entry written by hand) as a JSON string.
local function json(value)
  if pcall(cjson.decode, value) then return value end
  return cjson.encode(value)
end

-- `map` holds the fields of the job's entry; payload, meta, errors and options are JSON texts and stay as they are.
local function record_of(id, level, map, state, attempt, kind, message)
  local parts = {'{"id":', cjson.encode(id), ',"name":', cjson.encode(map.name or '?'), ',"state":"', state,
    '","priority":', level, ',"attempt":', string.format('%d', attempt),
    ',"created_ms":', tonumber(map.created) and map.created or '0', ',"started_ms":0,"finished_ms":',
    string.format('%d', now), ',"payload":', json(map.payload or 'null'),
    ',"error":{"type":', cjson.encode(kind), ',"message":', cjson.encode(message), '}'}
  for _, name in ipairs({'stalls', 'snoozes'}) do
    if tonumber(map[name]) then
      parts[#parts + 1] = ',"' .. name .. '":'
      parts[#parts + 1] = map[name]
    end
  end
  for _, name in ipairs({'errors', 'meta', 'options'}) do
    if map[name] then
      parts[#parts + 1] = ',"' .. name .. '":'
      parts[#parts + 1] = map[name]
    end
  end
  if map.unique then parts[#parts + 1] = ',"unique":' .. cjson.encode(map.unique) end
  if map.key then parts[#parts + 1] = ',"key":' .. cjson.encode(map.key) end
  parts[#parts + 1] = '}'
  return table.concat(parts)
end
