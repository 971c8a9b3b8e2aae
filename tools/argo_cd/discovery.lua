local suspended = obj.spec.suspend == true
local observed = obj.spec.managementPolicy == "Observe"
local actions = {}
