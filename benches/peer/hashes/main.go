// Writes beside each NodePool of a file the hash by which Karpenter finds that nodes are made from another template:
//
//	go run ./hashes ../../api/tests/hashes.json
//
// The file is a list of {"template": …, "hash": …}, a template as in spec.template of a NodePool.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	v1 "sigs.k8s.io/karpenter/pkg/apis/v1"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: hashes FILE")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var hashes []struct {
		Template json.RawMessage `json:"template"`
		Hash     string          `json:"hash"`
	}
	if err := json.Unmarshal(text, &hashes); err != nil {
		return err
	}
	for i := range hashes {
		var pool v1.NodePool
		if err := json.Unmarshal(hashes[i].Template, &pool.Spec.Template); err != nil {
			return fmt.Errorf("template %d: %w", i, err)
		}
		hashes[i].Hash = pool.Hash()
	}
	out, err := json.MarshalIndent(hashes, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], append(out, '\n'), 0o600)
}
