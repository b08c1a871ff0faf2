"""Print the ONNX schema of the installed onnx package, one fact per line.

    python schema.py > schema.txt

The lines are sorted, so two versions can be compared with diff.
"""

import onnx
from google.protobuf import descriptor_pb2
from onnx import onnx_ml_pb2

FIELD = descriptor_pb2.FieldDescriptorProto


def enum(prefix, e):
    for v in e.value:
        yield f"enum {prefix}{e.name} {v.name} = {v.number}"


def message(prefix, m):
    name = prefix + m.name
    yield f"message {name}"
    for r in m.reserved_range:
        yield f"reserved {name} {r.start} to {r.end - 1}"
    for r in m.reserved_name:
        yield f"reserved {name} {r}"
    for f in m.field:
        words = [
            "field", name, f.name, "=", str(f.number),
            FIELD.Label.Name(f.label).removeprefix("LABEL_").lower(),
            FIELD.Type.Name(f.type).removeprefix("TYPE_").lower(),
        ]
        if f.type_name:
            words.append(f.type_name.removeprefix("." + FILE.package + "."))
        if f.options.packed:
            words.append("packed")
        if f.HasField("oneof_index"):
            words.append("oneof:" + m.oneof_decl[f.oneof_index].name)
        if f.HasField("default_value"):
            words.append("default:" + f.default_value)
        yield " ".join(words)
    for e in m.enum_type:
        yield from enum(name + ".", e)
    for n in m.nested_type:
        yield from message(name + ".", n)


FILE = descriptor_pb2.FileDescriptorProto()
onnx_ml_pb2.DESCRIPTOR.CopyToProto(FILE)
lines = [f"syntax {FILE.syntax or 'proto2'}"]
for e in FILE.enum_type:
    lines += enum("", e)
for m in FILE.message_type:
    lines += message("", m)
print(f"# onnx {onnx.__version__}, printed by schema.py")
print("\n".join(sorted(lines)))
