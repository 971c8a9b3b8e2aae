// Command argo_cd reads objects as lines of JSON, and prints the health that Argo CD shows for each, one line per
// object. The argument is the path of the health check.
//
// It has the Lua interpreter of Argo CD, with the libraries that Argo CD opens for the scripts of argocd-cm:
// https://github.com/argoproj/argo-cd/blob/master/util/lua/lua.go
// An object that is being deleted has the health Progressing, and Argo CD does not run the script:
// https://github.com/argoproj/argo-cd/blob/master/gitops-engine/pkg/health/health.go
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"

	lua "github.com/yuin/gopher-lua"
)

const longestLine = 4 << 20

func main() {
	script, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		var object map[string]any
		if err := json.Unmarshal(lines.Bytes(), &object); err != nil {
			log.Fatal(err)
		}
		health, err := healthOf(object, string(script))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(health)
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}

func healthOf(object map[string]any, script string) (string, error) {
	if metadata, ok := object["metadata"].(map[string]any); ok && metadata["deletionTimestamp"] != nil {
		return "Progressing", nil
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		call := lua.P{Fn: state.NewFunction(open), Protect: true}
		if err := state.CallByParam(call, lua.LString(name)); err != nil {
			return "", err
		}
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return "", err
	}
	return state.CheckTable(-1).RawGetString("status").String(), nil
}

func value(state *lua.LState, decoded any) lua.LValue {
	switch decoded := decoded.(type) {
	case bool:
		return lua.LBool(decoded)
	case float64:
		return lua.LNumber(decoded)
	case string:
		return lua.LString(decoded)
	case []any:
		table := state.NewTable()
		for _, item := range decoded {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for name, field := range decoded {
			table.RawSetString(name, value(state, field))
		}
		return table
	default:
		return lua.LNil
	}
}
