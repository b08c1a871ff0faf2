package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/checkpoint"
	"github.com/fp8rewrite/fp8rewrite/family"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/samples"
)

// openModel opens what a user calls a model: an ONNX file, or a checkpoint's folder, whose graph is built with those of the inputs that are left to
// choice for which there is an array in data. Close ends the model's tensors; source is nil for an ONNX file.
func openModel(path string, data *dataOptions) (file *onnxio.File, source *checkpoint.Source, err error) {
	if !checkpoint.IsCheckpoint(path) {
		file, err = onnxio.Open(path)
		return file, nil, err
	}
	if !isFolder(path) {
		return nil, nil, hint(fmt.Errorf("%s: a file of tensors alone does not say what it computes", path), "name the folder that holds its config.json")
	}
	src, err := checkpoint.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			src.Close()
		}
	}()
	opt, err := optionalInputs(data)
	if err != nil {
		return nil, nil, err
	}
	file = &onnxio.File{Path: filepath.Join(path, configFile)}
	if err := mapfile.Guard(func() error { file.Model, err = family.Build(src, opt); return err }); err != nil {
		if src.Config != nil && src.Config.Has("quantization_config") {
			return nil, nil, hint(err, "fp8rewrite restore %s -o %s", shellWord(path), shellWord(suggestCheckpoint(path, "restored")))
		}
		return nil, nil, err
	}
	info, err := os.Stat(file.Path)
	if err != nil {
		return nil, nil, err
	}
	file.Bytes = info.Size()
	for _, s := range src.Shards {
		file.External = append(file.External, onnxio.ExternalFile{Location: s.Name, Path: filepath.Join(path, s.Name), Bytes: s.Size})
	}
	return file, src, nil
}

// configFile says what the tensors of a folder compute.
const configFile = "config.json"

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// closeModel ends what openModel opened.
func closeModel(file *onnxio.File, source *checkpoint.Source) error {
	if source != nil {
		return source.Close()
	}
	return file.Close()
}

// optionalInputs are the inputs that the data has an array for, among those that a graph can do without.
func optionalInputs(data *dataOptions) (family.Options, error) {
	set, err := samples.Open(data.path, samples.Options{MaxMemory: data.maxMemory, DecodePB: onnxio.UnmarshalTensor})
	if err != nil {
		return family.Options{}, explainData(err)
	}
	defer set.Close()
	has := map[string]bool{}
	for _, name := range set.Names() {
		if input, ok := strings.CutPrefix(name, data.prefix); ok {
			has[input] = true
		}
	}
	for _, text := range data.inputs {
		input, _, _ := strings.Cut(text, "=")
		has[input] = true
	}
	return family.Options{AttentionMask: has["attention_mask"], TokenTypes: has["token_type_ids"]}, nil
}

// isBuilt reports whether a model was built from a folder.
func isBuilt(f *onnxio.File) bool { return filepath.Base(f.Path) == configFile }
