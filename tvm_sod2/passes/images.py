"""Values that stand in another form, each beside the operations that can stay in that form."""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax import Expr


class ImageMutator(relax.PyExprMutator):
    """Computes the image of a value where it has one, and the value back from it.

    `images` are those of the variables before the rewrite. A pass says what has an image and how a
    value comes back; values that nobody reads in their first form are dead code afterwards.
    """

    images: dict[tvm.ir.Var, tvm.ir.Var]

    def image(self, value: Expr) -> relax.Call | None:
        """The call that computes the image of `value`, or None where it has none."""
        raise NotImplementedError

    def type_of_image(self, var: tvm.ir.Var) -> relax.TensorType:
        """The type of a variable's image."""
        raise NotImplementedError

    def back(self, image: tvm.ir.Var, var: tvm.ir.Var) -> Expr:
        """A variable's value from its image."""
        raise NotImplementedError

    def visit_dataflow_block_(self, block: relax.DataflowBlock) -> relax.BindingBlock:
        seen = dict(self.images)
        result = super().visit_dataflow_block_(block)
        self.images = seen  # Nobody outside sees the block's own variables.
        return result

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        image, var = self.image(binding.value), binding.var
        if image is None:
            super().visit_var_binding_(binding)
            return
        # Inference may find another form for a dim than the one that RDP wrote.
        relax.expr._update_type(image, self.type_of_image(var))
        self.images[var] = self.builder_.emit(image, var.name)
        super().visit_var_binding_(relax.VarBinding(var, self.back(self.images[var], var)))
