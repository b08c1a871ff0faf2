package samples

import "fmt"

// readyRows finds how many rows a ready step has, and why steps cannot be divided.
func (s *Set) readyRows() error {
	var cut, list []*feed
	for _, f := range s.feeds {
		switch f.mode {
		case byRows:
			cut = append(cut, f)
			if fixed, _ := f.batchDim(); fixed >= 0 && s.indivisible == nil {
				s.indivisible = fmt.Errorf("input %q of the model has a fixed batch of %d: its rows cannot be divided", f.in.Name, fixed)
			}
		case ready:
			list = append(list, f)
		}
	}
	switch {
	case len(list) == 0 && len(cut) == 0:
		s.indivisible = fmt.Errorf("every input is given whole: there are no rows to divide")
	case len(list) > 0 && len(cut) > 0:
		s.indivisible = fmt.Errorf("input %q is cut from rows and input %q is a list of ready inputs: their rows cannot be divided alike",
			cut[0].in.Name, list[0].in.Name)
	case len(list) > 0:
		s.ready = 1
		shape := list[0].array.Shape[1:]
		for _, f := range list {
			fixed, _ := f.batchDim()
			switch own := f.array.Shape[1:]; {
			case len(own) == 0:
				s.indivisible = fmt.Errorf("input %q of the model has no axes: there are no rows to divide", f.in.Name)
			case fixed >= 0:
				s.indivisible = fmt.Errorf("input %q of the model has a fixed batch of %d: its rows cannot be divided", f.in.Name, fixed)
			case own[0] != shape[0]:
				s.indivisible = fmt.Errorf("input %q has %d rows in a step and input %q has %d: they cannot be divided alike",
					list[0].in.Name, shape[0], f.in.Name, own[0])
			}
		}
		if len(shape) > 0 && s.opt.BatchSize != 0 && shape[0] != s.opt.BatchSize {
			return fmt.Errorf("batch size %d, and array %q (%s) is a list of ready batches of %d", s.opt.BatchSize, list[0].array.Name,
				list[0].array.File(), shape[0])
		}
		if s.indivisible == nil && shape[0] > 0 {
			s.ready = shape[0]
		}
	}
	return nil
}
