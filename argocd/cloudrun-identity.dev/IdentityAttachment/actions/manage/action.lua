obj.spec.managementPolicy = "Manage"
return obj
