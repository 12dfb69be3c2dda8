package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlOf is a JSON text as YAML: the names of the JSON fields are the contract, and
// so is their order.
func yamlOf(text []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	node, err := yamlNode(d)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	err = errors.Join(e.Encode(node), e.Close())
	return b.Bytes(), err
}

// yamlNode reads the next value of d.
func yamlNode(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch x := token.(type) {
	case json.Delim:
		kind := yaml.SequenceNode
		if x == '{' {
			kind = yaml.MappingNode
		}
		return yamlNodes(d, &yaml.Node{Kind: kind})
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: x, Style: yamlStyle(x)}, nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: x.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: map[bool]string{true: "true", false: "false"}[x]}, nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
}

// yamlNodes reads what is in the list or object that d stands in, keys and all.
func yamlNodes(d *json.Decoder, into *yaml.Node) (*yaml.Node, error) {
	for d.More() {
		n, err := yamlNode(d)
		if err != nil {
			return nil, err
		}
		into.Content = append(into.Content, n)
	}
	_, err := d.Token() // its end
	return into, err
}

var yamlWord = regexp.MustCompile(`^[A-Za-z/][-A-Za-z0-9_./@+]*( [-A-Za-z0-9_./@+]+)*$`)

// yamlStyle is how s is written, so that every reader takes it for text: a word
// or a few as they are, lines as a block, all else within quotes.
func yamlStyle(s string) yaml.Style {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return yaml.DoubleQuotedStyle
	}
	if yamlWord.MatchString(s) {
		return 0
	}
	odd := func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) }
	if strings.Contains(strings.TrimRight(s, "\n"), "\n") && !strings.ContainsFunc(s, odd) && s[0] != ' ' && s[0] != '\n' {
		return yaml.LiteralStyle
	}
	return yaml.DoubleQuotedStyle
}
