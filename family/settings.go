package family

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/checkpoint"
)

// KeyError says that a setting of config.json is not what the graph can be built from.
type KeyError struct{ Key, Got, Want string }

func (e *KeyError) Error() string {
	return fmt.Sprintf("key %q: got %s, want %s", e.Key, e.Got, e.Want)
}

// failure carries an error up to run, which gives it back: a graph is some hundred calls, any of which can find a lie.
type failure struct{ error }

// settings reads an object of config.json and keeps count of what was read.
type settings struct {
	values map[string]json.RawMessage
	within string // the key that holds the object; "" for the whole file
	used   map[string]bool
}

func readSettings(c *checkpoint.Config) (*settings, error) {
	b, err := c.Encode()
	if err != nil {
		return nil, err
	}
	s := &settings{used: map[string]bool{}}
	return s, json.Unmarshal(b, &s.values)
}

func (s *settings) use(keys ...string) {
	for _, k := range keys {
		s.used[k] = true
	}
}

// has reports whether a key is there and not null, which is the same as absent everywhere in transformers' settings.
func (s *settings) has(key string) bool {
	raw, ok := s.values[key]
	return ok && string(raw) != "null"
}

func (s *settings) got(key string) string {
	if !s.has(key) {
		return "none"
	}
	text := s.compact(key)
	if r := []rune(text); len(r) > 60 {
		text = string(r[:60]) + "…"
	}
	return text
}

// compact is the value of a key as JSON without spaces.
func (s *settings) compact(key string) string {
	var b bytes.Buffer
	if json.Compact(&b, s.values[key]) != nil {
		return string(s.values[key])
	}
	return b.String()
}

func (s *settings) fail(key, want string) {
	name := key
	if s.within != "" {
		name = s.within + "." + key
	}
	panic(failure{&KeyError{name, s.got(key), want}})
}

// read decodes a key that is there; want describes what it should be.
func (s *settings) read(key string, v any, want string) bool {
	s.use(key)
	if !s.has(key) {
		return false
	}
	if json.Unmarshal(s.values[key], v) != nil {
		s.fail(key, want)
	}
	return true
}

// maxCount bounds extents, so that products of two do not overflow.
const maxCount = 1 << 30

// count is a whole number above 0 that must be there.
func (s *settings) count(key string) int64 {
	n := s.countOr(key, 0)
	if n == 0 {
		s.fail(key, "a whole number above 0")
	}
	return n
}

// countOr is a whole number above 0, or def where the key is absent.
func (s *settings) countOr(key string, def int64) int64 {
	var n int64
	if !s.read(key, &n, "a whole number above 0") {
		return def
	}
	if n <= 0 || n > maxCount {
		s.fail(key, "a whole number above 0")
	}
	return n
}

// number is a number above 0, or def where the key is absent.
func (s *settings) number(key string, def float64) float64 {
	var x float64
	if !s.read(key, &x, "a number above 0") {
		return def
	}
	if !(x > 0) {
		s.fail(key, "a number above 0")
	}
	return x
}

// flag is true or false, or def where the key is absent.
func (s *settings) flag(key string, def bool) bool {
	var v bool
	if !s.read(key, &v, "true or false") {
		return def
	}
	return v
}

// word is a string, or def where the key is absent.
func (s *settings) word(key, def string) string {
	var v string
	if !s.read(key, &v, "a string") {
		return def
	}
	return v
}

// must refuses a key that is there with another value than one of those given, spelled as in JSON; null and absence are fine.
func (s *settings) must(key string, want ...string) {
	s.use(key)
	if s.has(key) && !slices.Contains(want, s.compact(key)) {
		s.fail(key, strings.Join(want, " or ")+", or no such key")
	}
}

// object is the object that a key holds, nil where the key is absent.
func (s *settings) object(key string) *settings {
	o := &settings{within: key, used: map[string]bool{}}
	if !s.read(key, &o.values, "an object") {
		return nil
	}
	return o
}

// done refuses keys that nobody has read: they may change numbers in a way that is not known here.
func (s *settings) done() {
	var left []string
	for key := range s.values {
		if !s.used[key] && s.has(key) {
			left = append(left, key)
		}
	}
	if len(left) > 0 {
		sort.Strings(left)
		s.fail(left[0], "no such key: what it changes is not known here")
	}
}

// harmless are keys that change no output of a forward pass without training: where the model came from, its tokens, initialization, dropout, what
// is returned beside the logits, and how text is generated from them. pretraining_tp changes the order of a sum.
var harmless = []string{
	"architectures", "transformers_version", "torch_dtype", "dtype", "_name_or_path", "_commit_hash", "tokenizer_class", "language", "license",
	"attn_implementation", "_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal", "experts_implementation",
	"bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "cls_token_id", "unk_token_id", "decoder_start_token_id", "mask_token_id",
	"initializer_range", "initializer_factor", "gradient_checkpointing", "pretraining_tp", "use_cache", "keys_to_ignore_at_inference",
	"attention_dropout", "hidden_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "resid_pdrop", "embd_pdrop",
	"attn_pdrop", "chunk_size_feed_forward",
	"return_dict", "return_dict_in_generate", "output_attentions", "output_hidden_states", "output_scores", "torchscript", "use_bfloat16",
	"task_specific_params", "finetuning_task", "problem_type", "id2label", "label2id", "num_labels", "prefix",
	"do_sample", "early_stopping", "max_length", "min_length", "num_beams", "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p",
	"typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids",
	"num_return_sequences", "remove_invalid_values", "forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens",
	"exponential_decay_length_penalty", "tf_legacy_loss",
}

// common reads the keys that every family has.
func (s *settings) common() {
	s.use(harmless...)
	for _, key := range []string{"is_encoder_decoder", "is_decoder", "add_cross_attention", "tie_encoder_decoder"} {
		s.must(key, "false")
	}
	s.must("pruned_heads", "{}")
	s.must("cross_attention_hidden_size")
}

// architecture is the class that the checkpoint was saved from, which must be among those given; the first stands for none.
func (s *settings) architecture(known ...string) string {
	var list []string
	if !s.read("architectures", &list, "a list of names") {
		return known[0]
	}
	if len(list) != 1 || !slices.Contains(known, list[0]) {
		s.fail("architectures", "one of "+strings.Join(known, ", "))
	}
	return list[0]
}
