obj.spec.managementPolicy = "Observe"
return obj
