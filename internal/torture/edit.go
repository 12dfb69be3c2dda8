package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// edit replaces text that stands once in the files of a folder.
type edit struct {
	folder, old, new string
	imports          []string
}

// overlay writes the files that edits make of those of a module below dir, and the
// list of them that the go command takes.
func overlay(edits []edit, dir, module string) (list string, err error) {
	files := map[string][]byte{}
	for _, e := range edits {
		if err := e.apply(files, filepath.Join(module, e.folder)); err != nil {
			return "", err
		}
	}
	replace := map[string]string{}
	for path, text := range files {
		replace[path] = filepath.Join(dir, fmt.Sprintf("%d-%s", len(replace), filepath.Base(path)))
		if err := os.WriteFile(replace[path], text, 0o600); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list = filepath.Join(dir, "overlay.json")
	return list, os.WriteFile(list, text, 0o600)
}

// apply finds the one file of a folder where e belongs, and adds what comes of it
// to files.
func (e edit) apply(files map[string][]byte, folder string) error {
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return err
	}
	found, times := "", 0
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text := files[path]
		if text == nil {
			if text, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		if n := bytes.Count(text, []byte(e.old)); n > 0 {
			found, times = path, times+n
			if n == 1 {
				files[path] = e.in(text)
			}
		}
	}
	if times != 1 {
		return fmt.Errorf("%s has its place %d times (%s): give it the text that stands there now: %q", e.folder, times, found, e.old)
	}
	return nil
}

// in is text with e, and with the imports that it needs.
func (e edit) in(text []byte) []byte {
	text = bytes.Replace(text, []byte(e.old), []byte(e.new), 1)
	for _, name := range e.imports {
		if quoted := fmt.Sprintf("%q", name); !bytes.Contains(text, []byte("\t"+quoted+"\n")) {
			text = bytes.Replace(text, []byte("\nimport (\n"), []byte("\nimport (\n\t"+quoted+"\n"), 1)
		}
	}
	return text
}
