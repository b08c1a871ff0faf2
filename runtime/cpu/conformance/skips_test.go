package conformance

// exception is a test with a tolerance of its own.
type exception struct {
	tolerance
	reason string
}

// tolerances are the tests that the suite's tolerance does not suit.
var tolerances = map[string]exception{}

// skip is a group of tests that the engine does not pass.
type skip struct {
	reason string
	tests  []string
}

// skips are the tests that are not expected to pass, by reason. A test in the list that passes is an error, so that the list stays true.
var skips = []skip{
	{"random numbers: the test's outputs are those of another generator", []string{
		"test_bernoulli", "test_bernoulli_double", "test_bernoulli_double_expanded", "test_bernoulli_expanded", "test_bernoulli_seed",
		"test_bernoulli_seed_expanded",
	}},
	{"the expected output holds the rounding error of the reference's float32 transform where the exact value is zero", []string{
		"test_dft_inverse", "test_dft_inverse_opset19",
	}},
	{"the test's decoder rounds some pixels of a JPEG otherwise than Go's", []string{
		"test_image_decoder_decode_jpeg_bgr", "test_image_decoder_decode_jpeg_grayscale", "test_image_decoder_decode_jpeg_rgb",
	}},
	{"no decoder for the image's format", []string{
		"test_image_decoder_decode_jpeg2k_rgb", "test_image_decoder_decode_tiff_rgb", "test_image_decoder_decode_webp_rgb",
	}},
}
