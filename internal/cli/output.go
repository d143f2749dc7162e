package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/goccy/go-yaml"
)

// column is one column of a table; wide ones show with -o wide only.
type column[T any] struct {
	head string
	wide bool
	cell func(T) string
}

// show prints rows in the form that -o asks for. The JSON of a row is its
// type's; tables, CSV and names are made of the columns, of which the first
// is the name.
func show[T any](a *app, rows []T, cols ...column[T]) error {
	if layout, ok := strings.CutPrefix(a.output, "template="); ok {
		return showTemplate(a.Out, layout, rows)
	}
	switch a.output {
	case "table", "wide", "":
		return showTable(a, rows, cols)
	case "json":
		if rows == nil {
			rows = []T{}
		}
		e := json.NewEncoder(a.Out)
		e.SetIndent("", "  ")
		return e.Encode(rows)
	case "jsonl":
		e := json.NewEncoder(a.Out)
		for _, r := range rows {
			if err := e.Encode(r); err != nil {
				return err
			}
		}
		return nil
	case "yaml":
		text, err := yaml.MarshalWithOptions(rows, yaml.UseJSONMarshaler())
		if err == nil {
			_, err = a.Out.Write(text)
		}
		return err
	case "csv":
		return showCSV(a.Out, rows, cols)
	case "name":
		for _, r := range rows {
			fmt.Fprintln(a.Out, cols[0].cell(r))
		}
		return nil
	case "help":
		fmt.Fprint(a.Out, shape(reflect.TypeFor[T](), ""))
		return nil
	}
	return usage("-o %s: want table, wide, json, jsonl, yaml, csv, name, template=... or help", a.output)
}

func showTable[T any](a *app, rows []T, cols []column[T]) error {
	cols = slices.DeleteFunc(slices.Clone(cols), func(c column[T]) bool { return c.wide && a.output != "wide" && !a.verbose })
	w := tabwriter.NewWriter(a.Out, 0, 8, 2, ' ', 0)
	line := func(cell func(column[T]) string) {
		cells := make([]string, len(cols))
		for i, c := range cols {
			cells[i] = cell(c)
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	line(func(c column[T]) string { return c.head })
	for _, r := range rows {
		line(func(c column[T]) string { return c.cell(r) })
	}
	return w.Flush()
}

func showCSV[T any](out io.Writer, rows []T, cols []column[T]) error {
	w := csv.NewWriter(out)
	record := make([]string, len(cols))
	for i, c := range cols {
		record[i] = strings.ToLower(strings.ReplaceAll(c.head, "-", "_"))
	}
	w.Write(record)
	for _, r := range rows {
		for i, c := range cols {
			record[i] = c.cell(r)
		}
		w.Write(record)
	}
	w.Flush()
	return w.Error()
}

func showTemplate[T any](out io.Writer, layout string, rows []T) error {
	t, err := template.New("-o template").Parse(layout)
	if err != nil {
		return usage("%s", oneLine(err))
	}
	for _, r := range rows {
		if err := t.Execute(out, r); err != nil {
			return usage("%s", oneLine(err))
		}
		fmt.Fprintln(out)
	}
	return nil
}

// shape writes the JSON type of t, for -o help.
func shape(t reflect.Type, indent string) string {
	switch t.Kind() {
	case reflect.Pointer:
		return shape(t.Elem(), indent)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return "list of:\n" + shape(t.Elem(), indent+"  ")
		}
		return "list of " + shape(t.Elem(), indent)
	case reflect.Map:
		return "map of " + shape(t.Elem(), indent)
	case reflect.Struct:
		var s strings.Builder
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue
			}
			fmt.Fprintf(&s, "%s%s: %s\n", indent, name, strings.TrimSuffix(shape(f.Type, indent), "\n"))
		}
		return s.String()
	}
	return t.Kind().String()
}

// count is a number with its noun.
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
