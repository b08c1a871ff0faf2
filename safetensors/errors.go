package safetensors

import "errors"

// Each way in which a file can lie. The errors of this package wrap one of them and name the tensor and the numbers.
var (
	ErrTruncated    = errors.New("the file is cut short")
	ErrHeaderSize   = errors.New("the header is larger than 100 MB")
	ErrHeaderStart  = errors.New("the header does not begin with {")
	ErrUTF8         = errors.New("it is not valid UTF-8")
	ErrJSON         = errors.New("the header is not the JSON that it should be")
	ErrDuplicate    = errors.New("a key stands twice")
	ErrMetadata     = errors.New("the metadata is not a map from string to string")
	ErrDType        = errors.New("unsupported element type")
	ErrShape        = errors.New("wrong shape")
	ErrOverflow     = errors.New("the size overflows")
	ErrPartialByte  = errors.New("the elements do not fill whole bytes")
	ErrSize         = errors.New("type and shape ask for another number of bytes")
	ErrOffsets      = errors.New("the end lies before the begin")
	ErrOverlap      = errors.New("two tensors share bytes")
	ErrGap          = errors.New("bytes belong to no tensor")
	ErrOutOfBounds  = errors.New("a tensor ends after the file")
	ErrTrailing     = errors.New("bytes follow the last tensor")
	ErrIndex        = errors.New("the index is not the JSON that it should be")
	ErrIndexPath    = errors.New("the index names a file outside its folder")
	ErrIndexMissing = errors.New("a tensor of the index is not in its file")
	ErrName         = errors.New("the name cannot be written")
)
