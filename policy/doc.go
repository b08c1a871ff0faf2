// Package policy reads the policy file of a project: which model is converted how, with which data it is calibrated and verified, which
// gates it has to keep, and how its reports are compared.
//
// It knows the file's form: its keys, their types, and the JSON schema that says the same to editors. It refuses to know what a setting
// does: a key of a section is the flag of the command of that name, and the command judges the value. Before it comes the file, after it
// the command check, which runs the others.
package policy
