// Wrapper around runc for machines whose capability bounding set lacks CAP_SYS_RESOURCE.
//
// There a container that asks for the capability, for a negative oom_score_adj or for larger limits cannot start. The wrapper
// takes out of the bundle (create, run, restore) and of the process (exec) what this machine cannot give, and then becomes the
// real runc.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const sysResource = 24 // linux/capability.h

func main() {
	if !hasSysResource() {
		for _, path := range documents(os.Args[1:]) {
			if err := relax(path); err != nil {
				fail(err)
			}
		}
	}
	runc := "/usr/sbin/runc.real" // in a node, where the wrapper has the name of runc
	if _, err := os.Stat(runc); err != nil {
		runc = "/usr/sbin/runc"
	}
	fail(syscall.Exec(runc, append([]string{runc}, os.Args[1:]...), os.Environ()))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "runc-filter:", err)
	os.Exit(1)
}

// hasSysResource tells whether the bounding set holds the capability.
func hasSysResource() bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return true
	}
	for _, line := range strings.Split(string(status), "\n") {
		if value, found := strings.CutPrefix(line, "CapBnd:"); found {
			set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return err != nil || set&(1<<sysResource) != 0
		}
	}
	return true
}

// documents returns the files that a call of runc reads: the bundle's config.json, or the process of an exec.
func documents(arguments []string) []string {
	command := ""
	options := map[string]string{"bundle": "."}
	for index, argument := range arguments {
		name, value, hasValue := strings.Cut(strings.TrimLeft(argument, "-"), "=")
		if short := map[string]string{"b": "bundle", "p": "process"}[name]; short != "" {
			name = short
		}
		switch {
		case !strings.HasPrefix(argument, "-"):
			if command == "" && (argument == "create" || argument == "run" || argument == "restore" || argument == "exec") {
				command = argument
			}
		case hasValue:
			options[name] = value
		case index+1 < len(arguments) && (name == "bundle" || name == "process"):
			options[name] = arguments[index+1]
		}
	}
	switch command {
	case "create", "run", "restore":
		return []string{filepath.Join(options["bundle"], "config.json")}
	case "exec":
		if options["process"] != "" {
			return []string{options["process"]}
		}
	}
	return nil
}

// relax rewrites one document; a bundle holds its process under that name.
func relax(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	document := map[string]any{}
	if err := decoder.Decode(&document); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	process, isBundle := document["process"].(map[string]any)
	if !isBundle {
		process = document
	}
	delete(process, "rlimits")
	if adjustment, isNumber := process["oomScoreAdj"].(json.Number); isNumber && strings.HasPrefix(adjustment.String(), "-") {
		process["oomScoreAdj"] = 0
	}
	sets, _ := process["capabilities"].(map[string]any)
	for name, set := range sets {
		kept := []any{}
		names, _ := set.([]any)
		for _, capability := range names {
			if capability != "CAP_SYS_RESOURCE" {
				kept = append(kept, capability)
			}
		}
		sets[name] = kept
	}
	text, err = json.Marshal(document)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
