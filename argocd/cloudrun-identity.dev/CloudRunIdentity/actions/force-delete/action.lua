if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["cloudrun-identity.dev/force-delete"] = "true"
return obj
