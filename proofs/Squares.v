(* IPO: its loss on unlimited votes is a sum of squares, and has a minimum. *)

From Coq Require Import Reals Lra Lia.
From Dpo Require Import Sums Policies Votes Losses.
Open Scope R_scope.

(* the IPO loss of one vote, from its log-ratio margin h *)
Definition ipo (beta h : R) : R := (h - 1 / (2 * beta)) ^ 2.

(* the log-ratio margin that IPO wants of a pair *)
Definition wanted (beta : R) (P : nat -> nat -> R) (i j : nat) : R := (2 * P i j - 1) / (2 * beta).

(* X2: the IPO loss on any votes is a weighted sum of squares about the wanted margins, and a
   constant; so in any class of policies its minimisers are the least-squares fits. *)
Theorem X2 n mu P beta h : 0 < beta ->
  population n mu P (ipo beta) h =
    Sum2 n (fun i j => mu i j * (h i j - wanted beta P i j) ^ 2)
    + Sum2 n (fun i j => mu i j * ((1 - (2 * P i j - 1) ^ 2) / (4 * beta ^ 2))).
Proof.
  intros B. unfold population. rewrite <- Sum2_plus. apply Sum2_ext. intros i j Hi Hj.
  unfold ipo, wanted. field. lra.
Qed.

(* --- Every sum of squares has a minimum --- *)

(* the sum of weighted squares of m^2 affine functions of x(0), ..., x(N - 1) *)
Definition squares (m : nat) (w : nat -> nat -> R) (N : nat) (a : nat -> nat -> nat -> R)
    (b : nat -> nat -> R) (x : nat -> R) : R :=
  Sum2 m (fun i j => w i j * (Sum N (fun l => a i j l * x l) - b i j) ^ 2).

Lemma Sum2_swap m N (f : nat -> nat -> nat -> R) :
  Sum2 m (fun i j => Sum N (fun l => f i j l)) = Sum N (fun l => Sum2 m (fun i j => f i j l)).
Proof.
  unfold Sum2. rewrite (Sum_ext _ _ (fun i => Sum N (fun l => Sum m (fun j => f i j l)))).
  apply Sum_swap. intros. apply Sum_swap.
Qed.

(* The last variable is chosen best, and there is one variable less. *)
Lemma squares_minimum m w : weights m w ->
  forall N a b, exists x, forall y, squares m w N a b x <= squares m w N a b y.
Proof.
  intros W N. induction N as [| N IH]; intros a b.
  { exists (fun _ => 0). intros y. right. reflexivity. }
  (* without the last variable *)
  set (c := fun (x : nat -> R) i j => Sum N (fun l => a i j l * x l) - b i j).
  assert (E : forall x, squares m w (S N) a b x
    = Sum2 m (fun i j => w i j * (c x i j + a i j N * x N) ^ 2)).
  { intros. apply Sum2_ext. intros. unfold c. simpl. ring. }
  set (A := Sum2 m (fun i j => w i j * (a i j N) ^ 2)).
  assert (T : forall i j, (i < m)%nat -> (j < m)%nat -> 0 <= w i j * (a i j N) ^ 2).
  { intros. apply Rmult_le_pos; auto. apply pow2_ge_0. }
  assert (0 <= A) as [PA | ZA] by (apply Sum2_nonneg; auto).
  - (* The best value of the last variable is affine in the others. *)
    set (g := fun l => Sum2 m (fun i j => w i j * a i j N * a i j l)).
    set (h := Sum2 m (fun i j => w i j * a i j N * b i j)).
    set (t := fun x : nat -> R => - (Sum N (fun l => g l * x l) - h) / A).
    destruct (IH (fun i j l => a i j l - a i j N * (g l / A))
      (fun i j => b i j - a i j N * (h / A))) as [x X].
    assert (C : forall z i j, Sum N (fun l => (a i j l - a i j N * (g l / A)) * z l)
      - (b i j - a i j N * (h / A)) = c z i j + a i j N * t z).
    { intros z i j. unfold c, t.
      rewrite (Sum_ext _ _ (fun l => a i j l * z l + (- (a i j N / A)) * (g l * z l)))
        by (intros; field; lra).
      rewrite Sum_plus, Sum_scale. field. lra. }
    (* the weighted mean of the products is - A t *)
    assert (B : forall z, Sum2 m (fun i j => w i j * a i j N * c z i j) = - A * t z).
    { intros z. replace (- A * t z) with (Sum N (fun l => g l * z l) + (-1) * h)
        by (unfold t; field; lra).
      unfold h. rewrite <- Sum2_scale.
      rewrite (Sum_ext N _ (fun l => Sum2 m (fun i j => w i j * a i j N * (a i j l * z l)))).
      2: { intros l _. unfold g. rewrite Rmult_comm, <- Sum2_scale. apply Sum2_ext. intros; ring. }
      rewrite <- Sum2_swap, <- Sum2_plus. apply Sum2_ext. intros i j _ _. unfold c.
      rewrite Sum_scale. ring. }
    (* What another value costs. *)
    assert (D : forall z s, Sum2 m (fun i j => w i j * (c z i j + a i j N * s) ^ 2)
      = Sum2 m (fun i j => w i j * (c z i j + a i j N * t z) ^ 2) + A * (s - t z) ^ 2).
    { intros z s.
      replace (A * (s - t z) ^ 2) with
        (2 * (s - t z) * Sum2 m (fun i j => w i j * a i j N * c z i j) + (s * s - t z * t z) * A)
        by (rewrite B; ring).
      unfold A. rewrite <- !Sum2_scale, <- !Sum2_plus. apply Sum2_ext. intros; ring. }
    assert (SX : forall z, squares m w N (fun i j l => a i j l - a i j N * (g l / A))
      (fun i j => b i j - a i j N * (h / A)) z
      = Sum2 m (fun i j => w i j * (c z i j + a i j N * t z) ^ 2)).
    { intros z. apply Sum2_ext. intros. rewrite C. reflexivity. }
    exists (fun l => if Nat.eqb l N then t x else x l). intros y. rewrite !E.
    assert (CX : forall i j, c (fun l => if Nat.eqb l N then t x else x l) i j = c x i j).
    { intros. unfold c. f_equal. apply Sum_ext. intros l Hl.
      destruct (Nat.eqb_spec l N). lia. reflexivity. }
    rewrite (Sum2_ext _ (fun i j => w i j * (c (fun l => _) i j + _) ^ 2)
      (fun i j => w i j * (c x i j + a i j N * t x) ^ 2)).
    2: { intros. rewrite CX, Nat.eqb_refl. reflexivity. }
    rewrite (D y (y N)). specialize (X y). rewrite !SX in X.
    assert (0 <= A * (y N - t y) ^ 2); [| lra].
    apply Rmult_le_pos. lra. apply pow2_ge_0.
  - (* The last variable does not matter. *)
    assert (F : forall z, squares m w (S N) a b z = squares m w N a b z).
    { intros z. rewrite E. apply Sum2_ext. intros i j Hi Hj.
      assert (Q : w i j * (a i j N) ^ 2 = 0) by (apply (Sum2_all_zero m _ T); auto).
      fold (c z i j). apply Rmult_integral in Q as [-> | Q]. ring.
      replace (a i j N) with 0. ring. symmetry.
      rewrite <- Rsqr_pow2 in Q. apply Rsqr_0_uniq; auto. }
    destruct (IH a b) as [x X]. exists x. intros y. rewrite !F. auto.
Qed.

(* X2: the optimum of a table is finite, whatever the votes: a policy with full support has the
   least loss. *)
Theorem X2_finite n mu P beta ref : 0 < beta -> policy n ref -> full n ref -> weights n mu ->
  exists p, policy n p /\ full n p /\ forall q, policy n q -> full n q ->
    population n mu P (ipo beta) (margin 1 ref p) <= population n mu P (ipo beta) (margin 1 ref q).
Proof.
  intros B R F M.
  (* The least-squares fit f is the log-ratio of a policy. *)
  destruct (squares_minimum n mu M n (fun i j l => at_response i l - at_response j l)
    (wanted beta P)) as [f H].
  exists (pi_star n 1 ref f). split. apply G4; auto. split.
  intros y Hy; apply star_positive; auto.
  intros q Q G. rewrite !X2 by auto. apply Rplus_le_compat_r.
  assert (S : forall x, squares n mu n (fun i j l => at_response i l - at_response j l)
    (wanted beta P) x = Sum2 n (fun i j => mu i j * (x i - x j - wanted beta P i j) ^ 2)).
  { intros x. apply Sum2_ext. intros i j Hi Hj. do 3 f_equal.
    rewrite (Sum_ext _ _ (fun l => at_response i l * x l + (-1) * (at_response j l * x l)))
      by (intros; ring).
    rewrite Sum_plus, Sum_scale, !Sum_pick by auto. ring. }
  specialize (H (implicit 1 ref q)). rewrite !S in H.
  rewrite (Sum2_ext _ _ (fun i j => mu i j * (f i - f j - wanted beta P i j) ^ 2)).
  exact H. intros i j Hi Hj. rewrite margin_star by (auto; lra). reflexivity.
Qed.
