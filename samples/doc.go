// Package samples reads the batches that a model is calibrated and verified with.
//
// It knows the containers (.npz, .npy, .safetensors, .jsonl, folders of those, ONNX test sets), how their arrays find the model's inputs, how
// arrays are cut into steps, and what must not reach a model: a wrong type, a wrong shape, a NaN. It refuses to know what the model
// does with them, what protobuf is (the caller passes a decoder), and which rows belong to which worker. samples/npy, safetensors and
// graph come before it; calibrate and verify come after.
//
// # Which array feeds which input
//
// An input takes the array that [Options.Inputs] names for it, else the one called [Options.Prefix] + its name, else, where the model
// has one input and the data one array, that. Arrays that no input takes are left alone: [Set.Array] and [Set.Aligned] find them by
// name, so labels may lie in the same file.
//
// In a folder, the files are read in the order of their names, numbers in them by value: part2 before part10. A .npy file is an array called after the file; name_0.npy, name_1.npy …
// (or name-0, name.0) are the parts of one array called name where no file has that very name. Files of the other kinds bring the names
// of their arrays along, and arrays of one name in several files are joined along axis 0. Other files, hidden files and subfolders are
// passed over.
//
// An ONNX test set is a folder with input_0.pb, input_1.pb …: one step. Data that is a folder of folders test_data_set_0, test_data_set_1 …
// has a step for each. An input takes the tensor of its name, else the one with its number among the model's inputs.
//
// A line of a .jsonl file is a JSON object, and its lists of whole numbers are rows of the arrays that their keys name: a tokenizer's output. The rows
// of an array have one length.
//
// # How an array is cut
//
// An array with as many axes as its input has one row per sample: step i of batch size B takes rows [i·B, (i+1)·B), and the last step
// what is left. All inputs cut so must have the same number of rows. Where the model fixes the batch axis, B is that number, and rows
// that do not fill a last batch are left out.
//
// An array with one axis more is a list of ready inputs: step i takes element i.
//
// An array is given whole at every step where it cannot be cut: it has no axes; or the model fixes its input's first axis to just
// the array's length, while other inputs have another number of rows; or the model names its input's first axis differently from
// the batch axis and it has another number of rows; or [Options.Whole] says so. [Set.Notes] names such inputs.
//
// # Types
//
// An array has its input's element type, or is an integer type whose every value the input's type can hold, or float64 for a float32
// input, which is rounded and noted. Everything else is an error, and so is an element that is not finite, unless
// [Options.AllowNonFinite].
package samples
