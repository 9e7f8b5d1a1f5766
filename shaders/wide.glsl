// wide.glsl - elements in fours where the last dimension allows it: with `wide` a unit is four elements, else one (in .x, the
// rest zero).
// Specialisation: 2 wide.
layout(constant_id = 2) const bool wide = false;

// With `if`, not with `?:`: older Mesa takes a constant folded from a choice between two for its default.
uint unit_size()
{
    if (wide) return 4;
    return 1;
}

vec4 load_unit(InReal x, uint i)
{
    if (wide) return vec4(InReal4(x).v[i]);
    return vec4(float(x.v[i]), 0.0, 0.0, 0.0);
}

void store_unit(OutReal y, uint i, vec4 v)
{
    if (wide) OutReal4(y).v[i] = REAL4(v);
    else y.v[i] = REAL(v.x);
}

// Ones where a unit holds an element, zeros elsewhere.
vec4 unit_mask()
{
    if (wide) return vec4(1.0);
    return vec4(1.0, 0.0, 0.0, 0.0);
}
