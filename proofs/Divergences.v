(* Other leashes: the inverses of the slopes of five divergences. *)

From Coq Require Import Reals Lra.
From Dpo Require Import Sums.
Open Scope R_scope.

(* On a domain of slopes g is the inverse of f': there the ratios u > 0 at which f has the slope v
   are the one ratio g(v). *)
Definition inverse_slope (f g : R -> R) (domain : R -> Prop) : Prop :=
  forall v, domain v -> 0 < g v /\ forall u, 0 < u -> (derivable_pt_lim f u v <-> u = g v).

(* It is enough to know the slope f' and to solve f'(u) = v. *)
Lemma inverse_of f slope g (domain : R -> Prop) :
  (forall u, 0 < u -> derivable_pt_lim f u (slope u)) ->
  (forall v, domain v -> 0 < g v /\ forall u, 0 < u -> (slope u = v <-> u = g v)) ->
  inverse_slope f g domain.
Proof.
  intros D S v V. destruct (S v V) as [P E]. split; auto. intros u U. rewrite <- E by auto. split.
  - intros H. apply (uniqueness_limite f u); auto.
  - intros <-. auto.
Qed.

(* the slope of u log u *)
Lemma slope_u_log_u u : 0 < u -> derivable_pt_lim (fun u => u * ln u) u (ln u + 1).
Proof.
  intros U. apply derivative_value with (1 * ln u + u * / u). 2: field; lra.
  apply (derivable_pt_lim_mult (fun u => u) ln). apply derivable_pt_lim_id.
  apply derivable_pt_lim_ln; auto.
Qed.

(* log u = v just if u = exp v *)
Lemma ln_solved u v : 0 < u -> (ln u = v <-> u = exp v).
Proof. intros U. split. intros <-. symmetry; apply exp_ln; auto. intros ->. apply ln_exp. Qed.

Theorem F2_reverse_KL : inverse_slope (fun u => u * ln u) (fun v => exp (v - 1)) (fun _ => True).
Proof.
  apply inverse_of with (fun u => ln u + 1). apply slope_u_log_u.
  intros v _. split. apply exp_pos. intros u U. rewrite <- ln_solved by auto. split; lra.
Qed.

Theorem F2_forward_KL : inverse_slope (fun u => - ln u) (fun v => - 1 / v) (fun v => v < 0).
Proof.
  apply inverse_of with (fun u => - / u).
  - intros u U. apply (derivable_pt_lim_opp ln). apply derivable_pt_lim_ln; auto.
  - intros v V. split.
    + replace (- 1 / v) with (/ - v) by (field; lra). apply Rinv_0_lt_compat. lra.
    + intros u U. split; [intros <- | intros ->]; field; lra.
Qed.

Theorem F2_Jensen_Shannon :
  inverse_slope (fun u => u * ln u - (u + 1) * ln ((u + 1) / 2))
    (fun v => 1 / (2 * exp (- v) - 1)) (fun v => v < ln 2).
Proof.
  apply inverse_of with (fun u => ln u - ln ((u + 1) / 2)).
  - intros u U.
    (* (u + 1) log((u + 1)/2) is 2 t log t at t = (u + 1)/2. *)
    apply derivative_ext with (fun u => u * ln u + -2 * (fun t => t * ln t) (1 / 2 * u + 1 / 2)).
    { intros t. replace (1 / 2 * t + 1 / 2) with ((t + 1) / 2) by field. field. }
    eapply derivative_value.
    + apply (derivable_pt_lim_plus (fun u => u * ln u)
        (fun u => -2 * (fun t => t * ln t) (1 / 2 * u + 1 / 2))). apply slope_u_log_u; auto.
      apply derivative_scale. apply (derivative_affine (fun t => t * ln t)).
      apply slope_u_log_u. lra.
    + replace (1 / 2 * u + 1 / 2) with ((u + 1) / 2) by field. field.
  - intros v V.
    (* 2 exp(-v) > 1, since v < log 2 *)
    assert (P : 0 < 2 * exp (- v) - 1).
    { assert (exp (- ln 2) < exp (- v)) as H by (apply exp_increasing; lra).
      rewrite exp_Ropp, exp_ln in H by lra. lra. }
    split. apply Rdiv_lt_0_compat; lra.
    intros u U. rewrite <- ln_quotient by lra. rewrite ln_solved by (apply Rdiv_lt_0_compat; lra).
    pose proof (exp_pos v). rewrite exp_Ropp in *. split; intros E.
    + rewrite <- E. field. split; lra.
    + assert (0 < 2 - exp v).
      { replace (2 - exp v) with (exp v * (2 * / exp v - 1)) by (field; lra).
        apply Rmult_lt_0_compat; lra. }
      rewrite E. field. repeat split; lra.
Qed.

Theorem F2_chi_square :
  inverse_slope (fun u => (u - 1) ^ 2) (fun v => 1 + v / 2) (fun v => -2 < v).
Proof.
  apply inverse_of with (fun u => 2 * (u - 1)).
  - intros u U. apply derivative_ext with (fun u => (fun t => t * t) (1 * u + -1)).
    intros; ring. eapply derivative_value. apply (derivative_affine (fun t => t * t)).
    apply (derivable_pt_lim_mult (fun t => t) (fun t => t)); apply derivable_pt_lim_id. ring.
  - intros v V. split. lra. intros u U. split; lra.
Qed.

(* The alpha family; a power a^b of a positive number is Rpower a b. *)
Theorem F2_alpha a : 0 < a < 1 ->
  inverse_slope (fun u => (Rpower u (1 - a) - u + a * (u - 1)) / (a * (a - 1)))
    (fun v => Rpower (1 - a * v) (- 1 / a)) (fun v => v < 1 / a).
Proof.
  intros A. apply inverse_of with (fun u => (1 - Rpower u (- a)) / a).
  - intros u U.
    apply derivative_ext with (fun u =>
      / (a * (a - 1)) * Rpower u (1 - a) + (/ a * u + - / (a - 1))). intros; field; lra.
    eapply derivative_value.
    + apply (derivable_pt_lim_plus (fun u => / (a * (a - 1)) * Rpower u (1 - a))
        (fun u => / a * u + - / (a - 1))).
      apply derivative_scale. apply derivable_pt_lim_power; auto.
      apply (derivative_affine (fun t => t)). apply derivable_pt_lim_id.
    + replace (1 - a - 1) with (- a) by ring. field. lra.
  - intros v V.
    assert (P : 0 < 1 - a * v).
    { apply Rmult_lt_compat_l with (r := a) in V; [| lra].
      replace (a * (1 / a)) with 1 in V by (field; lra). lra. }
    split. apply exp_pos. intros u U. split; intros E.
    + replace (1 - a * v) with (Rpower u (- a)) by (rewrite <- E; field; lra).
      rewrite Rpower_mult. replace (- a * (- 1 / a)) with 1 by (field; lra).
      symmetry; apply Rpower_1; auto.
    + rewrite E, Rpower_mult. replace (- 1 / a * - a) with 1 by (field; lra).
      rewrite Rpower_1 by auto. field. lra.
Qed.
