package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// document is a YAML file while it is being read into a configuration.
type document struct {
	*Effective
	file    string
	anchors map[string]ast.Node
}

// parse reads a YAML document strictly, and notes where each value stands.
func (e *Effective) parse(file string, b []byte) {
	d := document{e, file, map[string]ast.Node{}}
	if len(b) > MaxBytes {
		d.wrong("", nil, "the file is larger than %d bytes", MaxBytes)
		return
	}
	f, err := parser.ParseBytes(b, 0, parser.AllowDuplicateMapKey()) // which are told of here, with all else
	if err != nil {
		at, text := (*token.Token)(nil), err.Error()
		if syntax, ok := errors.AsType[*yaml.SyntaxError](err); ok {
			at, text = syntax.GetToken(), syntax.GetMessage()
		}
		d.wrong("", at, "this is no YAML: %s", text)
		return
	}
	for i, doc := range f.Docs {
		switch {
		case doc.Body == nil:
		case i > 0:
			d.wrong("", doc.Body.GetToken(), "a second document begins: want one")
		default:
			ast.Walk(collector(d.anchors), doc.Body)
			d.read("", doc.Body, reflect.ValueOf(&e.Config).Elem())
		}
	}
}

// collector finds what aliases may stand for.
type collector map[string]ast.Node

// Visit is ast.Visitor's.
func (c collector) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok {
		c[a.Name.GetToken().Value] = a.Value
	}
	return c
}

func (d document) place(t *token.Token) string {
	if t == nil || t.Position == nil {
		return d.file
	}
	return fmt.Sprintf("%s:%d:%d", d.file, t.Position.Line, t.Position.Column)
}

func (d document) wrong(key string, at *token.Token, format string, args ...any) {
	d.Problems = append(d.Problems, Problem{d.place(at), key, fmt.Sprintf(format, args...)})
}

// read puts n, which is the value of key, into v.
func (d document) read(key string, n ast.Node, v reflect.Value) {
	at, written := n.GetToken(), n
	n = d.resolved(n)
	if n == nil {
		d.wrong(key, at, "%s is %s, and no anchor has that name", key, written)
		return
	}
	if n.Type() == ast.NullType {
		return // as if it were not there
	}
	if key != "" {
		d.from[key] = d.place(at)
	}
	switch v.Kind() {
	case reflect.Struct:
		d.fields(key, n, v)
	case reflect.Map:
		d.pairs(key, n, v)
	case reflect.Slice:
		d.list(key, n, v)
	default:
		d.scalar(key, n, v)
	}
}

// resolved is n without anchors, tags and aliases; nil if it leads nowhere.
func (d document) resolved(n ast.Node) ast.Node {
	for range 100 {
		switch x := n.(type) {
		case *ast.AnchorNode:
			n = x.Value
		case *ast.TagNode:
			n = x.Value
		case *ast.AliasNode:
			n = d.anchors[x.Value.GetToken().Value]
		default:
			return n
		}
	}
	return nil
}

func (d document) scalar(key string, n ast.Node, v reflect.Value) {
	s, ok := n.(ast.ScalarNode)
	if !ok {
		d.wrong(key, n.GetToken(), "%s is a %s: want %s", key, kindOf(n), wanted(v.Type()))
		return
	}
	text := s.GetToken().Value
	if l, ok := n.(*ast.LiteralNode); ok {
		text = l.Value.Value
	}
	if err := scan(v, text); err != nil {
		d.wrong(key, n.GetToken(), "%s is %s: %v", key, shown(key, text), err)
	}
}

func (d document) list(key string, n ast.Node, v reflect.Value) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.wrong(key, n.GetToken(), "%s is a %s: want %s", key, kindOf(n), wanted(v.Type()))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values)))
	for i, x := range s.Values {
		d.read(fmt.Sprintf("%s[%d]", key, i), x, v.Index(i))
	}
}

func (d document) pairs(key string, n ast.Node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	d.members(key, n, v.Type(), func(name string, m *ast.MappingValueNode) {
		x := reflect.New(v.Type().Elem()).Elem()
		d.read(within(key, name), m.Value, x)
		v.SetMapIndex(reflect.ValueOf(name), x)
	})
}

func (d document) fields(key string, n ast.Node, v reflect.Value) {
	var known []string
	for i := range v.NumField() {
		known = append(known, v.Type().Field(i).Tag.Get("yaml"))
	}
	d.members(key, n, v.Type(), func(name string, m *ast.MappingValueNode) {
		if i := slices.Index(known, name); i >= 0 {
			d.read(within(key, name), m.Value, v.Field(i))
			return
		}
		near := didYouMean(name, known)
		if near == "" {
			near = ": want one of " + strings.Join(known, ", ")
		}
		d.wrong(within(key, name), m.Key.GetToken(), "unknown key %q%s", within(key, name), near)
	})
}

// members calls f with each member of n, which is to be a mapping.
func (d document) members(key string, n ast.Node, want reflect.Type, f func(string, *ast.MappingValueNode)) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		if key == "" {
			key = "the file"
		}
		d.wrong(key, n.GetToken(), "%s is a %s: want %s", key, kindOf(n), wanted(want))
		return
	}
	first := map[string]*token.Token{}
	for _, x := range m.Values {
		at := x.Key.GetToken()
		name := at.Value
		if before, twice := first[name]; twice {
			d.wrong(within(key, name), at, "%s is there twice: also at line %d", within(key, name), before.Position.Line)
			continue
		}
		first[name] = at
		f(name, x)
	}
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode:
		return "mapping"
	case *ast.SequenceNode:
		return "list"
	}
	return "single value"
}

// wanted is what stands in a file for a value of type t.
func wanted(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Slice:
		return "names, each with a list, such as CLICommand: [central]"
	case t.Kind() == reflect.Map:
		return "names, each with a text, such as app: crane"
	case t.Kind() == reflect.Struct:
		return "keys, each with a value"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return "a list, each entry of which begins with a dash"
	case t.Kind() == reflect.Slice:
		return "a list, such as [a, b]"
	}
	return "a single value"
}
